"""The one door to PostgreSQL: psycopg, its sessions, and its errors in our words."""
