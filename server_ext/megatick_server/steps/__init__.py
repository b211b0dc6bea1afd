"""The steps that run inside Triton, one module a Triton model.

A step takes a list of requests and answers each; what it computes is in the modules
beside this folder, and ``model_repository/`` holds the adapters that Triton loads.
"""
