"""From published checkpoints to a bundle of our own. No pickle is ever run: see `hope.models.importers.pickles`."""
