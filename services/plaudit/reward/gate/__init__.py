"""Who may ask, and how much.

settings      what the operator says of it
reloading     values of files, read again when the files change
keys          API keys: made at random, kept as SHA-256, compared in constant time
certificates  TLS and mTLS, for gRPC and for HTTP
callers       who a client is: its key's name, else its certificate's subject, else its address
quota         a token bucket for each of them
gate          all of these of one server
interceptor   at gRPC's door
http          at HTTP's
command       `plaudit keys`
"""
