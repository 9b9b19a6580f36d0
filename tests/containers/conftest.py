"""A tiny model and a small case for containers, as the end-to-end tests have them."""

from tests.e2e.conftest import heads, models_dir, preprocessed_case_dir  # noqa: F401
