"""Device models fitted to rows of measurements, and how far off they are on rows they have not seen."""
