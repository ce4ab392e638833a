# Image for NVIDIA GPUs; PyTorch's wheels bring CUDA, the host brings the driver (NVIDIA Container Toolkit):
#   docker build -f docker/cuda.Dockerfile -t wla:cuda .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" wla:cuda train wla0_libero
FROM debian:bookworm-slim

# graphics: MuJoCo renders through EGL. video: the decoder of the GPU.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics,video

# Libraries that MuJoCo renders with, also where there is no GPU. Versions are those of the Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libegl1 libopengl0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/wla
ENV PATH=/opt/wla/bin:$PATH

COPY . /src
RUN pip install --no-cache-dir "/src[lora]" && wla doctor

WORKDIR /work
ENTRYPOINT ["wla"]
