"""Sample data sets that `sweeps demo` writes."""
