"""What every room uses: errors, settings, paths and formats, data sets on disk, metrics, splits. No torch."""
