"""The page for people: HTML made on the server, with HTMX for what moves."""

from fastapi import APIRouter

router = APIRouter()
