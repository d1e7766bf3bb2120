"""A Django site in one file, for the tests of the WSGI server."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret",
)


def hello(request, name):
    return HttpResponse(f"hello, {name}", content_type="text/plain; charset=utf-8")


def upload(request):
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size, "note": request.POST["note"]})


def stream(request, number):
    return StreamingHttpResponse(f"line {each}\n" for each in range(number))


urlpatterns = [
    path("hello/<str:name>", hello),
    path("upload", upload),
    path("stream/<int:number>", stream),
]

application = get_wsgi_application()
