"""The commands ``rainbowd fleet ...``: they talk to etcd, and so work on machines that run no agent too."""
