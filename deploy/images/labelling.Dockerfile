# The labelling page: docker build -f deploy/images/labelling.Dockerfile -t plaudit-labelling:0.1.0 .
ARG PYTHON=3.11.14-slim-bookworm

FROM docker.io/library/python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/plaudit
ENV PATH=/opt/plaudit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protos protos
COPY clients clients
COPY services services
RUN pip install -c constraints.txt '.[feedback]'

FROM docker.io/library/python:${PYTHON}
LABEL org.opencontainers.image.title="plaudit labelling" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/plaudit /opt/plaudit
# The root file system may be read-only: whatever writes, writes below /tmp.
ENV PATH=/opt/plaudit/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8090 9092
ENTRYPOINT ["plaudit"]
CMD ["label", "/etc/plaudit/label.yaml"]
