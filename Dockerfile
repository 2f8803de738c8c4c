# One node of coord: the programs of the image run below it. The embedded PostgreSQL is not in it,
# and COORD_REQUIRE_DATABASE=1 refuses to do without a database: two containers with a database each
# would be two active nodes.
#
#   FROM coord
#   COPY my_program /usr/local/bin/
#   CMD ["coord", "run", "--", "my_program"]
FROM python:3.11-slim AS build

# Bytecode is compiled once, here: else every start of a container takes seconds longer.
ENV UV_COMPILE_BYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/coord
COPY packaging/requirements.lock ./
RUN /opt/coord/bin/pip install --compile --require-hashes -r requirements.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY coordinator coordinator
COPY cli cli
COPY migrations migrations
RUN /opt/coord/bin/pip install --compile --no-deps .

FROM python:3.11-slim

COPY --from=build /opt/coord /opt/coord
RUN useradd --system --uid 10001 --create-home coord
ENV PATH=/opt/coord/bin:$PATH COORD_REQUIRE_DATABASE=1 PYTHONDONTWRITEBYTECODE=1

USER 10001
WORKDIR /home/coord
STOPSIGNAL SIGTERM
# Without [http] listen there is nothing to ask, and the check says so: set COORD_LISTEN.
ENV COORD_LISTEN=127.0.0.1:8008
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["coord", "check", "--local"]
CMD ["coord", "run"]
