"""The laboratory: evaluation, calibration, training, benchmarks and the demo. The rest does not import it."""
