# Trainer and Ray, head and workers: docker build -f deploy/images/trainer.Dockerfile -t plaudit-trainer:0.1.0 .
# With CUDA: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG PYTHON=3.11.14-slim-bookworm

FROM docker.io/library/python:${PYTHON} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /opt/plaudit
ENV PATH=/opt/plaudit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protos protos
COPY clients clients
COPY services services
# ray[default] has the agents that health checks and the dashboard ask.
RUN pip install --extra-index-url "$TORCH_INDEX" -c constraints.txt '.[train,tracing]' 'ray[default]'

FROM docker.io/library/python:${PYTHON}
LABEL org.opencontainers.image.title="plaudit trainer" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/plaudit /opt/plaudit
COPY examples /opt/plaudit/examples
# The root file system may be read-only: whatever writes, writes below /tmp.
ENV PATH=/opt/plaudit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
EXPOSE 50052 9090
ENTRYPOINT ["plaudit"]
CMD ["train", "/etc/plaudit/train.yaml"]
