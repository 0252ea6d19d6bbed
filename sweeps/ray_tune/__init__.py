"""Trials on Ray Tune's workers. The only folder that imports ray; the driver makes every decision."""
