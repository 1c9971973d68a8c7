"""Products of vectors and matrices."""

import ferrograd as fg

_MATRIX = fg.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=fg.float64)

#: Functions that are not element-wise, as calls on a tensor of shape (3, 4).
FUNCTIONS = {
    "einsum": lambda x: fg.einsum("ij,kj,ik->jk", x, x, x @ x.t()),
    "tensordot": lambda x: fg.tensordot(x, x, ([0], [0])),
    "inner": lambda x: x.inner(x * 2),
    "bilinear": lambda x: fg.bilinear(x, x[:, :2], fg.einsum("oi,j->oij", x[:2], x[0, :2])),
    "outer": lambda x: x[0].outer(x[1]),
    "kron": lambda x: x.kron(x[:1]),
    "vdot": lambda x: x[0].vdot(x[1]),
    "chain_matmul": lambda x: fg.chain_matmul(x, x.t(), x),
    "cross": lambda x: fg.cross(x, x.flip(0), dim=0),
    "matrix_power": lambda x: x[:, :3].matrix_power(5),
    "addmm": lambda x: fg.addmm(x[0, :3], x, x.t(), beta=2, alpha=0.5),
    "addmv": lambda x: fg.addmv(x[:, 0], x, x[0], alpha=2),
    "addr": lambda x: fg.addr(x, x[:, 0], x[0], beta=3),
    "addbmm": lambda x: fg.addbmm(x[:2, :2], x.reshape(3, 2, 2), x.reshape(3, 2, 2), alpha=2),
    "baddbmm": lambda x: fg.baddbmm(x[:, :1, None], x.reshape(3, 2, 2), x.reshape(3, 2, 2), beta=2),
    "linalg.vecdot": lambda x: fg.linalg.vecdot(x, x * 2),
    "linalg.multi_dot": lambda x: fg.linalg.multi_dot([x[:, 0], x, x.t(), x]),
    "linalg.cross": lambda x: fg.linalg.cross(x[:, :3], x[:, 1:]),
    "linalg.matrix_power": lambda x: fg.linalg.matrix_power(x[:, :3], 3),
}
#: What follows the tensor, of shape (2, 2), in calls of those that have in-place forms; a function shapes it first.
ARGUMENTS = {
    "addmm": (_MATRIX, _MATRIX + 1),
    "addmv": (lambda x: x[0].clone(), _MATRIX, _MATRIX[0]),
    "addr": (_MATRIX[0], _MATRIX[1]),
    "addbmm": (_MATRIX.view(1, 2, 2), _MATRIX.view(1, 2, 2)),
    "baddbmm": (lambda x: x.view(1, 2, 2), _MATRIX.view(1, 2, 2), _MATRIX.view(1, 2, 2)),
}
