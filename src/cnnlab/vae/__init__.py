"""The variational autoencoder (Kingma and Welling 2014): training and export with torch; sampling and measuring without."""
