"""Speed, accuracy and search quality: ratios, each taken in one run."""
