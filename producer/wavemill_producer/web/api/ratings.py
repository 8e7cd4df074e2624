"""Not yet."""

from fastapi import APIRouter

router = APIRouter()
