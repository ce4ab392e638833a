# Image for machines without a GPU:
#   docker build -f docker/cpu.Dockerfile -t wla:cpu --build-arg PIP_EXTRA_INDEX_URL=URL .
#   docker run --rm -v "$PWD:/work" wla:cpu demo
# URL is PyTorch's package index of CPU builds. Without it pip takes the CUDA build, which works too and is larger.
FROM debian:bookworm-slim

# Libraries that MuJoCo renders with. Versions are those of the Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libegl1 libopengl0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/wla
ENV PATH=/opt/wla/bin:$PATH

# Read by pip itself.
ARG PIP_EXTRA_INDEX_URL
COPY . /src
RUN pip install --no-cache-dir /src && wla doctor

WORKDIR /work
ENTRYPOINT ["wla"]
