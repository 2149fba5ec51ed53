# An image with the command `framescribe`, in the versions of requirements.txt.
#
#   docker build --tag framescribe .                                         for a CPU
#   docker build --tag framescribe:cuda --build-arg BACKEND=cuda .           for an NVIDIA GPU
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" framescribe label clip.mp4 --model m --out labels
FROM python:3.11-slim-bookworm

# git: DVC and the lineage of models. Java: the score METEOR. libgl1 and libglib2.0-0: OpenCV.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends default-jre-headless git libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/framescribe
COPY requirements-uv.txt requirements.txt ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements-uv.txt

# uv checks the hashes of its constraints. The lock has torch with CUDA. Without CUDA, the same version comes from the
# index of PyTorch, with other hashes.
ARG BACKEND=cpu
RUN case "$BACKEND" in \
        cuda) cp requirements.txt constraints.txt ;; \
        cpu) awk '/^[a-z]/ { torch = /^torch(vision)?==/ } !torch; torch && /==/ { print $1 }' \
            requirements.txt > constraints.txt ;; \
        *) echo "BACKEND is $BACKEND, expected cpu or cuda" >&2; exit 1 ;; \
    esac

COPY pyproject.toml README.md LICENSE ./
COPY framescribe framescribe
COPY pipeline pipeline
RUN backend="" \
    && if [ "$BACKEND" = cpu ]; then backend="--torch-backend=cpu"; fi \
    && uv pip install --system --no-cache --compile-bytecode ${backend:+"$backend"} --constraint constraints.txt \
        ".[fleet,lite,s3,timm]"

# What libraries keep goes to a place that any user may write to.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["framescribe"]
CMD ["--help"]
