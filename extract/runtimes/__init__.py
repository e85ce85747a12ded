"""Networks compiled for this machine: with OpenVINO on processors, with Keras on GPUs."""
