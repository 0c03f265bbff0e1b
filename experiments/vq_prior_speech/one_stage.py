"""How often the digit that was asked for is heard in samples of any run on these recordings.

python experiments/vq_prior_speech/one_stage.py RUN [RUN ...]
"""

import sys

from figures import features, listener

import aigc


def main() -> None:
    """One line a run: its folder and the share of 300 samples."""
    for path in sys.argv[1:]:
        run = aigc.load(path)
        ids, y = run.store.examples("test", 300)
        judge = listener(run)
        real = judge.score(features(run.codec, ids), y.numpy())
        heard = judge.score(features(run.codec, run.sample(len(ids), 0, y).ids), y.numpy())
        print(f"{path}: digit heard in {heard:.3f} of samples, {real:.3f} of recordings")


if __name__ == "__main__":
    main()
