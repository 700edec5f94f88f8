"""Models loaded, unloaded and named anew while the server serves, by whoever has a key with the scope `admin`."""
