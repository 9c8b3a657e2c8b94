"""Ground truths for judging a search: spaces whose every outcome is known, replayed as benches.

Two are of rows that others measured (`running_llamas`, `power_table`), two of the device model with noise
(`paper_space`, `mixed_space`). Each comes with a device model to guide a search that was not fitted to what is sought.
"""
