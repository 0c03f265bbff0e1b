"""How often the digit that was asked for is heard in samples of any run on these recordings.

python experiments/vq_prior_speech/one_stage.py RUN [RUN ...]
"""

import argparse

from figures import features, listener

import aigc


def main() -> None:
    """One line a run: its folder and the share of its samples."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("-n", type=int, default=300, help="recordings and samples")
    args = parser.parse_args()
    for path in args.runs:
        run = aigc.load(path)
        ids, y = run.store.examples("test", args.n)
        judge = listener(run)
        real = judge.score(features(run.codec, ids), y.numpy())
        heard = judge.score(features(run.codec, run.sample(len(ids), 0, y).ids), y.numpy())
        print(f"{path}: digit heard in {heard:.3f} of samples, {real:.3f} of recordings")


if __name__ == "__main__":
    main()
