# One image for every service of docker-compose.yml: the same Python, Ray and foldsweep on all of them.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/foldsweep

# the libraries first (torch with its CUDA parts: several GB), so that a change of the code does not install them again
COPY requirements.lock ./
RUN pip install --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY foldsweep ./foldsweep
COPY sweeps ./sweeps
COPY trainer ./trainer
COPY search_spaces ./search_spaces
# hatchling is among the locked libraries
RUN pip install --no-deps --no-build-isolation .

# files in ./data belong to whoever runs `docker compose`: build with that user's id (see .env.example)
ARG USER_ID=1000
RUN useradd --create-home --uid ${USER_ID} foldsweep \
    && mkdir --parents /foldsweep/runs /foldsweep/data /cache \
    && chown --recursive foldsweep /foldsweep /cache
USER foldsweep

WORKDIR /foldsweep
CMD ["sweeps", "--help"]
