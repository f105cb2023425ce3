"""What the pages answer."""

import hashlib
import os
import time

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse


def tell_generation(get_response):
    def answer(request):
        response = get_response(request)
        response["X-Generation"] = os.environ.get("RAINBOWD_GENERATION", "0")
        return response

    return answer


def up(request):
    request.get_host()  # as CommonMiddleware does: refused where it is not one of ALLOWED_HOSTS
    return HttpResponse("up")


def slow(request):
    time.sleep(0.3)
    return HttpResponse("slow")


def stream(request):
    def lines():
        for number in range(10):
            yield f"{number}\n"
            time.sleep(0.05)
        yield "end\n"

    return StreamingHttpResponse(lines())


def echo(request):
    body = request.read()  # not request.body, which takes a body without a length for empty
    return JsonResponse({"length": len(body), "sha256": hashlib.sha256(body).hexdigest()})


def closed(request):
    return HttpResponse("log in first", status=401)


def account(request):
    return HttpResponseRedirect("/login?next=/account")
