# docker build --target worker .      CPU worker; also producer, migrate and every other command
# docker build --target worker-gpu .  GPU worker
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
# libsndfile comes with the soundfile wheel, libgomp is TensorFlow's and scikit-learn's.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home wavemill && mkdir -p /data /output && chown wavemill /data /output
WORKDIR /srv/wavemill
COPY pyproject.toml README.md CHANGELOG.md LICENSE requirements.lock ./
COPY src src
COPY producer producer
COPY worker worker

FROM base AS worker
RUN pip install --constraint requirements.lock '.[worker]'
COPY models models
USER wavemill
# exec form: the supervisor is PID 1 and gets the stop signal itself.
ENTRYPOINT ["wavemill"]
CMD ["worker", "--devices", "cpu"]

FROM base AS worker-gpu
RUN pip install --constraint requirements.lock '.[gpu]'
COPY models models
USER wavemill
ENTRYPOINT ["wavemill"]
CMD ["worker", "--devices", "all"]
