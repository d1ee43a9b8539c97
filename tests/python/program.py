# Calls `spin_NAME` from stacks that main.rs knows. Runs on every version from 3.11 on; no case depends on a file of its own.
import functools
import os
import re
import sys
import threading

sys.setrecursionlimit(5000)
ROUNDS = int(os.environ.get("ROUNDS", "300000"))


def spin(name):
    source = f"def spin_{name}():\n    for i in range({ROUNDS}):\n        i * i\n"
    made = {}
    exec(compile(source, "/srv/known/spin.py", "exec"), made)
    return made[f"spin_{name}"]


def recurse(n, then):
    return recurse(n - 1, then) if n else then()


def case_recursion():
    recurse(300, spin("recursion"))


def case_deep():
    recurse(900, spin("deep"))


class Methods:
    def method(self, then):
        then()

    @classmethod
    def of_class(cls, then):
        cls().method(then)

    @property
    def prop(self):
        spin_property()

    def __call__(self):
        spin_call()

    def __del__(self):
        if self.__dict__:
            spin_del()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        spin_exit()

    def __lt__(self, other):
        spin_less()
        return True


spin_property, spin_call, spin_del, spin_exit, spin_less = map(spin, ["property", "call", "del", "exit", "less"])


def case_method():
    Methods.of_class(spin("method"))


def case_property():
    Methods().prop


def case_call():
    Methods()()


def case_del():
    dies = Methods()
    dies.alive = False
    del dies


def case_exit():
    with Methods():
        pass


def case_less():
    sorted([Methods(), Methods()])


def case_lambda():
    then = spin("lambda")
    (lambda: then())()


def case_closure():
    then = spin("closure")

    def outer():
        def inner():
            then()

        inner()

    outer()


def case_generator():
    def generates(then):
        yield 1
        then()

    def delegates():
        yield from generates(spin("generator"))

    list(delegates())


def case_coroutine():
    async def awaited(then):
        then()

    async def awaits():
        await awaited(spin("coroutine"))

    try:
        awaits().send(None)
    except StopIteration:
        pass


def case_key():
    then = spin("key")

    def key(item):
        then()
        return item

    sorted([2, 1], key=key)


def case_sub():
    then = spin("sub")

    def replaces(match):
        then()
        return ""

    re.sub("a", replaces, "a")


def case_partial():
    functools.partial(recurse, 2, spin("partial"))()


def case_nested():
    # C and Python in turns.
    then = spin("nested")

    def nested(n):
        return list(map(nested, [n - 1])) if n else then()

    nested(20)


def case_class_body():
    then = spin("class_body")

    class Body:
        then()


def case_except():
    then = spin("except")
    try:
        raise ValueError
    except ValueError:
        then()


def case_exec():
    exec("def executed():\n    then()\nexecuted()", {"then": spin("exec")})


def case_names():
    made = {}
    # One, two and four bytes a character.
    names = ["größe", "имя", "\U00010400"]
    then = spin("names")
    for name, callee in zip(names, names[1:] + ["then"]):
        exec(f"def {name}(): {callee}()", made)
    made["then"] = then
    made[names[0]]()


def case_thread():
    def thread(then):
        then()

    run = threading.Thread(target=thread, args=(spin("thread"),))
    run.start()
    run.join()


def case_fork():
    then = spin("fork")
    if os.fork() == 0:
        then()
        os._exit(0)
    os.wait()


def case_interpreter():
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    other = interpreters.create()
    source = f"def spin_interpreter():\n    for i in range({ROUNDS}):\n        i * i\nspin_interpreter()\n"
    interpreters.run_string(other, source)
    # With another interpreter there, 3.12 cannot fork.
    interpreters.destroy(other)


def run():
    for name, case in list(globals().items()):
        if name.startswith("case_"):
            case()


if os.environ.get("WAITS"):
    print("ready", flush=True)
    while os.read(0, 1):
        run()
        print("done", flush=True)
else:
    run()
