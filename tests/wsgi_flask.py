"""A Flask application, as Flask's users write it, for the tests of the WSGI server."""

import time

from flask import Flask, jsonify, redirect, render_template, request, send_file, session, url_for

app = Flask(__name__)
app.secret_key = "not a secret"


@app.get("/hello/<name>")
def hello(name):
    return render_template("greeting.html", names=[name, request.args.get("and", "all")])


@app.post("/sum")
def add():
    return jsonify(sum=sum(request.get_json()["numbers"]))


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "size": len(file.read()), "note": request.form["note"]}


@app.get("/stream/<int:number>")
def stream(number):
    def lines():
        for each in range(number):
            yield f"line {each}\n"
            time.sleep(0.001)

    return lines(), {"Content-Type": "text/plain"}


@app.put("/raw")
def raw():
    return str(len(request.get_data()))


@app.get("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/back")
def back():
    return redirect(url_for("hello", name="again", _external=True))


@app.get("/file")
def file():
    return send_file(__file__)


@app.get("/fail")
def fail():
    raise LookupError("no such thing")
