# docker build --target worker .      CPU worker; also producer, migrate and every other command
# docker build --target worker-gpu .  GPU worker
# docker build --target web .         the page and the HTTP API
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
# libsndfile comes with the soundfile wheel, libgomp is TensorFlow's and scikit-learn's.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home wavemill && mkdir -p /data /output /cache && chown wavemill /data /output /cache
WORKDIR /srv/wavemill
COPY pyproject.toml hatch_build.py README.md CHANGELOG.md LICENSE requirements.lock ./
COPY src src
COPY producer producer
COPY worker worker
COPY models models
COPY recognisers recognisers

FROM base AS worker
RUN pip install --constraint requirements.lock '.[worker]'
USER wavemill
# exec form: the supervisor is PID 1 and gets the stop signal itself.
ENTRYPOINT ["wavemill"]
CMD ["worker", "--devices", "cpu"]

FROM base AS worker-gpu
RUN pip install --constraint requirements.lock '.[gpu]'
USER wavemill
ENTRYPOINT ["wavemill"]
CMD ["worker", "--devices", "all"]

FROM base AS web
RUN pip install --constraint requirements.lock '.[web]'
USER wavemill
ENTRYPOINT ["wavemill"]
CMD ["web"]
