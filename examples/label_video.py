"""Label one video and print what happens in it, with times.

python examples/label_video.py clip.mp4 --model models/labeller
"""

import argparse

import framescribe


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", default="models/labeller", help="a checkpoint folder or an MLflow URI")
    options = parser.parse_args()

    labeller = framescribe.load_labeller(options.model)
    result = framescribe.label_video(options.video, labeller)
    for segment in result.segments:
        print(
            f"{segment.start_seconds:8.2f} s to {segment.stop_seconds:8.2f} s  {segment.label}"
            f"  (probability {segment.probability:.2f})"
        )


if __name__ == "__main__":
    main()
