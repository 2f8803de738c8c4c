# One node of coord. Bytecode is compiled while the image is built: without it every start of a
# container takes seconds longer.
FROM python:3.11-slim

WORKDIR /opt/coord
COPY requirements.lock ./
RUN pip install --no-cache-dir --compile --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY coordinator coordinator
COPY cli cli
COPY migrations migrations
RUN pip install --no-cache-dir --compile --no-deps . \
 && useradd --system --create-home coord

USER coord
WORKDIR /home/coord
STOPSIGNAL SIGTERM
CMD ["coord", "run"]
