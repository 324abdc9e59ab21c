"""Ordinary differential equations by fixed steps, apart from the solver under test."""


def runge_kutta(velocity, x, total, steps=4000):
    """Follow ``dx/dt = velocity(x)`` by steps of order 4, in NumPy."""
    h = total / steps
    for _ in range(steps):
        a = velocity(x)
        b = velocity(x + h / 2 * a)
        c = velocity(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + velocity(x + h * c))
    return x
