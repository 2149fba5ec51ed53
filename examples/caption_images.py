"""Describe images in words, three ways each.

python examples/caption_images.py photo.jpg another.png --model models/captioner
"""

import argparse

import framescribe


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", default="models/captioner", help="a checkpoint folder or an MLflow URI")
    options = parser.parse_args()

    captioner = framescribe.load_captioner(options.model)
    for image in options.images:
        print(image)
        for caption in captioner.describe(image, captions=3):
            print(f"  {caption.text}  (probability {caption.probability:.3f})")


if __name__ == "__main__":
    main()
