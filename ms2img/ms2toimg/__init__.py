"""MS2toImg: spectra to grey MS1 x MS2 images, and a CNN from image to bioactivity."""
