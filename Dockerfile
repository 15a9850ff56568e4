# syntax=docker/dockerfile:1
# One image for the API and the consumer. Stages: the virtual environment, the fast engine, what runs.

FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_CACHE_DIR=/var/cache/pip PATH=/opt/parascribe/venv/bin:$PATH

# --- everything that is not ours, by hash; then ours. No pip inside, so that none is shipped.
FROM base AS wheel
RUN python -m venv --without-pip /opt/parascribe/venv
WORKDIR /src
COPY requirements.lock ./
RUN --mount=type=cache,target=/var/cache/pip \
    /usr/local/bin/pip --python /opt/parascribe/venv/bin/python install --require-hashes -r requirements.lock
COPY . .
RUN /usr/local/bin/pip --python /opt/parascribe/venv/bin/python install --no-deps --no-build-isolation .

# --- libwhisper for any x86-64 or arm64: kernels for each kind of CPU, chosen when it is loaded
FROM wheel AS engine
RUN ENGINE_DIR=/opt/parascribe/engine python -m parascribe engine build --portable

# --- what runs
FROM base
RUN useradd --uid 10001 --no-log-init --home-dir /var/lib/parascribe --create-home parascribe \
    && install -d -o parascribe -g parascribe /var/lib/parascribe/models /var/lib/parascribe/work
COPY --from=wheel /opt/parascribe/venv /opt/parascribe/venv
COPY --from=engine /opt/parascribe/engine /opt/parascribe/engine
COPY cmd /app/cmd
COPY scripts/docker/consumer_healthy.py /app/scripts/docker/
WORKDIR /app
ENV DATA_DIR=/var/lib/parascribe ENGINE_DIR=/opt/parascribe/engine PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000
CMD ["python", "cmd/api/main.py"]
