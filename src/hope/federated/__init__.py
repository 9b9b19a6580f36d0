"""Jobs of several hospitals on NVIDIA FLARE: figures and weights travel, cases stay. Only ``flare*`` import FLARE."""
