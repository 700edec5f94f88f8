# The reward server: docker build -f deploy/images/reward-server.Dockerfile -t plaudit-reward-server:0.1.0 .
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
RUN pip install --extra-index-url "$TORCH_INDEX" -c constraints.txt '.[reward,feedback,tracing]'

FROM docker.io/library/python:${PYTHON}
LABEL org.opencontainers.image.title="plaudit reward server" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/plaudit /opt/plaudit
# The root file system may be read-only: whatever writes, writes below /tmp.
ENV PATH=/opt/plaudit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 50051 9090
ENTRYPOINT ["plaudit"]
CMD ["serve", "/etc/plaudit/serve.yaml"]
