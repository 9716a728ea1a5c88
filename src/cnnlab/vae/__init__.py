"""The variational autoencoder (Kingma and Welling 2014): training with torch, sampling without."""
