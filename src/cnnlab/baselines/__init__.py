"""What every network is compared with: classifiers that need no network. Never imports torch."""
