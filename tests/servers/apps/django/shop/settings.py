"""Settings of a site that answers to its own name alone."""

import os

SECRET_KEY = "only for the tests"
DEBUG = False
ALLOWED_HOSTS = ["shop.example", "127.0.0.1"]
SECURE_SSL_REDIRECT = os.environ.get("SHOP_REDIRECTS") == "yes"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ROOT_URLCONF = "shop.urls"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "shop.views.tell_generation",
]
USE_TZ = True
