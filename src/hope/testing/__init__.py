"""Test doubles and contracts, shipped so that adapters elsewhere can use them."""
