"""Pages."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.up),
    path("up", views.up),
    path("slow", views.slow),
    path("stream", views.stream),
    path("echo", views.echo),
    path("closed", views.closed),
    path("account", views.account),
    path("about/", views.up),
]
