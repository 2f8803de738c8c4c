"""The files that `coord init` writes.

Config.toml and its schema are derived from the models: a test holds the repository's equal to them,
and `make config` writes them anew.
"""

from __future__ import annotations

import json
import secrets

#: Of the generated password, in bytes of randomness.
PASSWORD_BYTES = 18


def files() -> dict[str, str]:
    """Return the text of each file by its name; the password is a new one each time."""
    return {
        "Config.toml": config_text(),
        "coord.schema.json": schema_text(),
        "docker-compose.yml": COMPOSE,
        ".env": ENVIRONMENT.format(password=secrets.token_urlsafe(PASSWORD_BYTES)),
    }


def schema_text() -> str:
    """Return the JSON schema of Config.toml as text."""
    from coordinator.app.config.model.json_schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def config_text() -> str:
    """Return Config.toml with a sentence for each key, as text."""
    from coordinator.app.config.model.commented import commented

    return commented()


ENVIRONMENT = """\
# Read by `docker compose`. For coord on this machine: set -a; . ./.env; set +a
# Keep it out of version control.
POSTGRES_USER=coord
POSTGRES_PASSWORD={password}
POSTGRES_DB=coord
COORD_DATABASE_URL=postgresql://coord@127.0.0.1:5432/coord
COORD_DATABASE_PASSWORD={password}
COORD_REQUIRE_DATABASE=1
"""

COMPOSE = """\
# A PostgreSQL for the nodes of this directory. The password is in .env.
services:
  postgres:
    image: postgres:18
    environment:
      POSTGRES_USER: ${POSTGRES_USER}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
      POSTGRES_DB: ${POSTGRES_DB}
    ports:
      - "127.0.0.1:5432:5432"
    volumes:
      - postgres:/var/lib/postgresql
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U $$POSTGRES_USER -d $$POSTGRES_DB"]
      interval: 1s
      timeout: 3s
      retries: 60
volumes:
  postgres:
"""
