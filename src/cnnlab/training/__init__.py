"""The one training loop, and what it trains: classifiers here, the VAE through the same `fit`."""
