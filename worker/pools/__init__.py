"""Who takes jobs: the solo pool, or Celery's; the slots they share."""

__all__ = ["celery_app", "slots", "solo"]
