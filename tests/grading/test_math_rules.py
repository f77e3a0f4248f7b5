"""The rules of equality, one table for each; every pair is graded through the public API."""

import pytest

from qwq_env.grading.math import MathGrader


@pytest.fixture(scope="module")
def grader():
    with MathGrader() as grader:
        yield grader


EQUAL = {
    "numbers": [
        ("8", "8."), ("8", "+8"), ("8", "(8)"), ("8", "{8}"), ("8", "8.000"), ("8", "\\mathbf{8}"),
        ("8", "\\text{8}"), ("-3", "−3"), ("-3", "–3"), (".5", "0.5"), ("073", "73"),
        ("\\frac{7}{3}", "7/3"), ("\\frac{7}{3}", "2\\frac{1}{3}"), ("\\frac{7}{3}", "2 1/3"),
        ("\\frac73", "\\dfrac{14}{6}"), ("-\\frac12", "\\frac{-1}{2}"), ("-\\frac12", "-.5"),
        ("\\frac{1}{3}", "0.\\overline{3}"), ("\\frac{4}{33}", "0.\\overline{12}"),
        ("\\frac{7}{3}", "2.3333333333333"), ("1000000", "1{,}000{,}000"), ("1,000,000", "10^6"),
        ("1000000", "1 000 000"), ("12345", "12,\\!345"), ("6.02e23", "6.02\\times10^{23}"),
        ("1.5e-3", "0.0015"), ("2^{10}", "1024"), ("\\frac{1}{2^{99}}", "2^{-99}"),
        ("99!", "99\\cdot 98!"), ("\\binom{10}{3}", "120"), ("{10 \\choose 3}", "120"),
        ("42", "４２"), ("42", "𝟒𝟐"), ("42", "\\color{red}42"), ("42", '"42"'), ("42", "42\\,"),
        ("42", "\\underline{42}"), ("8", "\\sqrt[3]{512}"), ("½", "\\frac12"),
        ("5", "2+3=5"),
        ("5", "\\boxed{5}"),
        ("-7", "{-}7"), ("-7", "\\text{-}7"),
        ("\\frac{5}{11}", "0.\\overline{45}"), ("\\frac{2}{3}", ".\\overline{6}"),
        ("\\frac{2}{3}", "0.\\dot{6}"), ("93{ , }811", "93811"), ("3000000", "3 million"),
        ("24", "2\\text{ dozen}"), ("61", "61\\"), ("61", "61\\\\"), ("61", "**61**"),
        ("61", "\\text{The answer is }61"), ("61", "61\\ \\blacksquare"),
        ("\\frac{\\sqrt{7}}{9}", "{\\sqrt{7}\\over 9}"),
    ],
    "units": [
        ("\\$12.50", "12.5"), ("12.50 dollars", "\\$12.50"), ("10\\text{ cm}", "10"),
        ("10", "10\\text{ inches}"), ("10\\text{ cm}", "100\\text{ mm}"),
        ("10 cm", "10\\mathrm{cm}"),
        ("10\\text{ cm}^2", "10 square cm"), ("9.8\\ \\mathrm{m/s^2}", "9.8"),
        ("60\\text{ mph}", "60 miles per hour"), ("14400", "14,400\\text{ ways}"),
        ("45^\\circ", "45"), ("45^{\\circ}", "45°"), ("45^\\circ", "45 degrees"),
        ("\\$7", "700\\text{ cents}"), ("31^\\circ", "31\\degree"), ("31", "31 \\circ"),
        ("8", "8 \\mathrm{~min}"), ("8 \\mathrm{~km} / \\mathrm{h}", "8"), ("8\\mathrm{m}", "8"),
        ("(1101)_2", "1101_2"),
        ("10", "10 m/s"), ("10", "10 km/h"), ("9.8\\text{ m/s}^2", "9.8 m/s^2"),
        ("10", "10\\frac{\\text{m}}{\\text{s}}"), ("10\\text{ cm}", "10 \\unit{cm}"),
        ("8\\text{ min}", "8"), ("8\\text{ min}", "480\\text{ s}"),
        ("80\\text{ min}", "1\\text{ hour }20\\text{ minutes}"), ("80", "1 hour and 20 minutes"),
        ("1\\text{ h }20\\text{ min}", "1 hr, 20 min"), ("7\\text{ ft }5\\text{ in}", "89 inches"),
        ("Rs. 4000", "4000"), ("4,000", "\\text{Rs. }4000"), ("USD 40", "\\$40"),
        ("75\\%", "75"), ("75\\%", "0.75"), ("0.75", "75\\%"), ("75\\%", "75 percent"),
        ("5\\pmod 7", "5"), ("x\\equiv 5\\pmod{7}", "5 \\pmod 7"), ("204_5", "204_{5}"),
    ],
    "expressions": [
        ("3\\sqrt5", "\\sqrt{45}"), ("\\frac{\\sqrt2}{2}", "\\frac{1}{\\sqrt{2}}"),
        ("\\sqrt3+\\sqrt2", "\\sqrt{5+2\\sqrt6}"), ("\\sqrt[3]{4}", "2^{2/3}"),
        ("\\sqrt3-1", "sqrt(3)-1"),
        ("2\\sqrt{113}", "2√113"), ("\\sqrt{15}", "sqrt15"), ("k^2", "\\mathrm{k^{2}}"),
        ("\\frac{\\pi}{6}", "pi/6"), ("4\\pi", "4π"), ("e^2", "\\exp(2)"), ("\\sqrt{-4}", "2i"),
        ("\\log_2 3", "\\frac{\\log 3}{\\log 2}"), ("\\log_{10} 5", "\\log 5"),
        ("\\sin 15^\\circ", "\\frac{\\sqrt6-\\sqrt2}{4}"), ("3+4i", "4i+3"), ("-i", "\\frac1i"),
        ("x^2+2x+1", "(x+1)^2"), ("\\frac{x}{2}", "0.5x"), ("\\frac{n(n+1)}{2}", "\\binom{n+1}{2}"),
        ("n!", "n(n-1)!"), ("\\sin 2x", "2\\sin x\\cos x"), ("\\sec^2 x-1", "\\tan^2x"),
        ("\\sqrt{x^2}", "|x|"), ("\\ln x+\\ln y", "\\ln(xy)"), ("x^2+C", "C+x^2"), ("x²", "x^2"),
        ("\\sum_{k=1}^{10}k", "55"), ("2^n-1", "\\sum_{k=0}^{n-1}2^k"),
        ("\\binom{n}{k}", "\\frac{n!}{k!(n-k)!}"), ("\\int_0^1 x\\,dx", "\\frac12"),
        ("\\sqrt[3]{x}^2", "x^{2/3}"),
        ("\\lfloor n/2\\rfloor", "\\left\\lfloor\\frac n2\\right\\rfloor"),
    ],
    "relations": [
        ("\\sqrt5\\approx 2.236", "\\sqrt5"), ("x\\neq 4", "x \\not= 4"),
        ("]-3,4[", "(-3,4)"), ("(-\\infty,1)\\cup[2,5)", "]-\\infty,1[\\cup[2,5["),
        ("\\mathbb{R}", "\\mathbb R"),
        ("(-\\infty,1)\\cup(4,\\infty)", "\\mathbb{R}\\setminus[1,4]"),
        ("(-\\infty,1)\\cup(4,\\infty)", "(-\\infty,1) U (4,\\infty)"),
        ("5", "x=5"), ("x=5", "5"), ("2=x", "x=2"), ("y=3x-2", "3x-2"), ("3x-2", "y=3x-2"),
        ("y=3x-2", "3x-y-2=0"), ("x^2+y^2=25", "25=x^2+y^2"),
        ("\\sqrt2x+y=2", "2x+\\sqrt2y=2\\sqrt2"), ("f(x)=2x", "2x"),
        ("\\angle A=30^\\circ", "30"), ("|AB|=1", "1"), ("\\frac{NO}{BO}=\\frac12", "0.5"),
        ("\\frac{\\sqrt3}{3}", "\\frac{\\sqrt3}{3}\\approx 0.577"), ("3.14", "\\approx 3.14"),
        ("x\\ge-3", "-3\\le x"), ("x>1", "2x>2"), ("1<x<2", "2>x>1"), ("x<1", "-x>-1"),
        ("[0,1]", "0\\le x\\le 1"), ("0<f(x)<1", "(0,1)"), ("-1<k<1", "|k|<1"), ("120", "5!=120"),
        ("\\{x\\in\\mathbb{R}: x>2\\}", "(2,\\infty)"), ("(-1,1)", "|x|<1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1\\text{ or }x>1"), ("x\\in[1,2]", "[1,2]"),
        ("x\\ne 2", "\\mathbb{R}\\setminus\\{2\\}"),
        ("1\\leq|z|\\leq 2", "z\\in[-2,-1]\\cup[1,2]"),
    ],
    "shapes": [
        ("1,2,3", "3,2,1"), ("1,2,3", "1, 2 \\text{ and } 3"), ("1,2,3", "\\{1,2,3\\}"),
        ("19, 46, and 82", "19, 46, \\text{ and } 82"), ("1,2", "x=1\\text{ or }x=2"),
        ("\\pm 2", "2,-2"), ("x=1\\pm\\sqrt3", "1+\\sqrt3,1-\\sqrt3"), ("\\{1,1,2\\}", "\\{2,1\\}"),
        ("(1,2)", "\\left(1,\\ 2\\right)"), ("(1,2)", "1,2"), ("(1,2)", "(x,y)=(1,2)"),
        ("(1,2,3)", "\\langle 1,2,3\\rangle"), ("(1,2),(3,4)", "(3,4),(1,2)"),
        ("(-\\infty,3)", "( - \\infty, 3)"), ("-\\infty", "- \\infty"),
        ("3:30\\text{ p.m.}", "3:30 PM"), ("3\\text{ PM}", "3:00 p.m."), ("10:30 AM", "10:30"),
        ("(100,200)", "(100, 200)"), ("(0;1)", "(0,1)"), ("[0,\\infty)", "[0,\\infty]"),
        ("(0,1)\\cup(2,3)", "(2,3)\\cup(0,1)"), ("\\emptyset", "\\varnothing"),
        ("\\emptyset", "\\{\\}"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
         "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4\\end{bmatrix}"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"),
        ("\\begin{pmatrix}\\frac17&\\frac27\\end{pmatrix}",
         "\\frac17\\begin{pmatrix}1&2\\end{pmatrix}"),
        ("2:3", "4:6"), ("2:3", "\\frac23"), ("V_1:V_2=11:21", "11:21"),
        ("100, 200", "100,200"), ("1.5", "1,5"), ("\\frac12", "0,5"), ("2,05", "2.05"),
        ("(5,120)\\cup(120,340)", "(5, 120) \\cup (120, 340)"),
        ("(5,120),(120,340)", "(5, 120), (120, 340)"), ("\\{1,2,3\\}", "\\{1\\}\\cup\\{2,3\\}"),
        ("a=1,b=9;a=4,b=6", "(1,9),(4,6)"), ("(8,3)or(3,8)", "(3,8),(8,3)"),
        ("(1,4),(4,1)", "(4,1),(1,4),(4,1)"), ("(6,-1)", "P(6,-1)"),
        ("\\begin{pmatrix}5&6\\\\7&8\\end{pmatrix}",
         "\\left[\\begin{array}{cc}5&6\\\\7&8\\end{array}\\right]"),
    ],
    "words": [
        ("\\text{Monday}", "monday"), ("\\text{(A)}", "A"), ("A", "\\textbf{(A)}\\ 12"),
        ("(A)", "A) 5"), ("(A)", "\\text{(A).}"), ("(A)", "\\text{Option A}"),
        ("\\text{no solution}", "no solutions"),
        ("A, C", "C, A"), ("\\text{no solution}", "No solution."),
        ("\\text{red, blue}", "blue, red"),
        ("\\mathrm{E}", "E"), ("\\text{June 20}", "June 20"), ("\\text{even}", "even"),
    ],
}  # fmt: skip

DIFFERENT = {
    "numbers": [
        ("\\frac{7}{3}", "2.33"), ("\\frac13", "0.3333"), ("5", "5.001"), ("8", "8!"), ("8", "-8"),
        ("73", "7300"), ("73", "0.73"), ("0", "10^{-30}"),
        ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"),
        ("\\frac{1}{2004!}", "\\frac{1}{2006!}"), ("2^{1000}", "2^{1000}+1"), ("99!", "98!"),
        ("5\\frac12", "\\frac52"), ("42", "\\frac{42}{0}"), ("42", "42x"), ("12345", "12,354"),
        ("3\\times 10^8", "3\\times 10^9"), ("\\pi", "3.14159265"), ("1", "0.999"),
        ("\\sqrt2", "\\sqrt2+10^{-400}"), ("1", "\\cos(10^{-200})"), ("1", "\\tanh(1000)"),
        ("\\pi", "\\pi\\cdot\\frac{10^{300}+1}{10^{300}}"),
        ("5", "\\lfloor 5-\\pi 10^{-200}\\rfloor"),
        ("1", "2^{10^{-300}}"), ("\\frac{\\pi}{2}", "\\arctan(10^{300})"), ("e", "e+e^{-1000}"),
        ("42", "\\phantom{42}"), ("42", "4²"), ("42", "4 2"), ("10^{50}+1", "10^{50}"),
        ("\\sqrt{2}", "1.41421356237"), ("5", "5 5"), ("42", "42 million"), ("42", "42x^0"),
        ("\\frac59", "0.\\overline{5}1"), ("0", "0\\cdot w"), ("0", "\\frac{1}{\\infty}"),
    ],
    "units": [
        ("3:30\\text{ p.m.}", "3:30\\text{ a.m.}"), ("7\\text{ ft }5\\text{ in}", "7 ft 6 in"),
        ("80", "1 hour and 20 inches"), ("5m", "5 m/s"), ("10", "1 hour 20 minutes"),
        ("\\$7", "7\\text{ cents}"), ("7", "7 plus"), ("7", "7\\text{ halves}"),
        ("7", "7\\text{ perhaps nine}"), ("2^\\circ", "2\\%"),
        ("5\\text{ miles}", "5\\text{ km}"), ("7\\text{ cm}", "7\\text{ m}"), ("75", "0.75"),
        ("45^\\circ", "54^\\circ"), ("45^\\circ", "\\frac{\\pi}{4}"), ("204_5", "204_6"),
        ("5\\pmod 7", "5\\pmod 9"), ("110_2", "6"), ("10 cm^2", "10 cm^3"), ("18", "18\\mod 5"),
    ],
    "expressions": [
        ("\\sqrt{x^2}", "x"), ("3\\sqrt5", "5\\sqrt3"), ("3+4i", "3-4i"),
        ("\\log_2 3", "\\log_3 2"),
        ("x_1", "x_2"), ("X", "x"), ("f(x)", "f(y)"), ("(a+5)(b+2)", "(+5)(b+2)"), ("3x", "3y"),
        ("\\ln(xy)", "\\ln x+\\ln y"), ("0", "\\pi-\\pi+10^{-60}"), ("\\pi", "\\pi+10^{-60}"),
        ("F_n=\\sum_{k=0}^{n-1}F_kF_{n-k-1}", "F_n=\\sum_{k=0}^{n-2}F_kF_{n-k-2}"),
        ("\\sum_{k=1}^{10}k", "54"), ("|x|", "(\\sqrt{x})^2"),
    ],
    "relations": [
        ("5", "4=5"), ("5", "x=4=5"), ("5", "x=x"), ("0", "0=1"), ("x=3", "y=3"),
        ("7=11a+c", "11a+c"),
        ("a+3z=0", "0"), ("x+y=7", "7"), ("y=3x-2", "y=3x+2"), ("x\\ge-3", "x>-3"),
        ("x>1", "-x>-1"),
        ("1<x<2", "1<x\\le2"), ("|k|<1", "k<1"), ("\\{x|x>2\\}", "[2,\\infty)"),
        ("x<3", "x\\le 3"), ("42", "x\\ge 42"), ("41", "41\\approx42=42"),
    ],
    "shapes": [
        ("1,5", "1.5"), ("0,5", "\\frac12"), ("2,3", "2.3"), ("1,2,3", "1,2"),
        ("1,2,3", "1,2,3,4"), ("1,2,3", "1,2,2"), ("1,1,2", "1,2"),
        ("\\pm2", "2"),
        ("2", "\\pm 2"), ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2)", "\\{1,2\\}"),
        ("(1,2)", "2,1"),
        ("[0,1)", "(0,1)"), ("(100,200)", "100200"), ("(0,1)\\cup(2,3)", "(0,1)\\cap(2,3)"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "(-\\infty,-1)\\cap(1,\\infty)"),
        ("\\emptyset", "\\{0\\}"),
        ("\\emptyset", "0"), ("\\infty", "-\\infty"), ("\\infty", "10^{100}"), ("5", "\\infty"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"),
        ("(1,2,3)", "[1,2,3)"), ("(1,2,3)", "(1,2,3]"), ("4:30", "0.1\\overline{3}"),
        ("(1,4),(4,1)", "(4,1)"), ("(1,4),(4,1)", "(4,1),(4,1)"),
        ("2:3", "3:2"), ("12:00", "1:00"), ("3:30", "3:03"), ("\\{10,42\\}", "42"),
    ],
    "words": [
        ("\\text{Monday}", "Tuesday"), ("A", "B"), ("(A)", "(A) or (B)"), ("A, C", "A"),
        ("(A)", "(A) or none"), ("(A)", "\\text{(A) maybe}"),
        ("5", "\\text{nan}"),
        ("\\text{odd}", "\\text{oddd}"), ("silent", "listen"), ("\\text{June 20}", "June 21"),
        ("\\text{yes}", "no"),
        ("42", "\\text{gold}"),
    ],
    "several answers for one": [
        ("42", "42, 43"), ("42", "42\\text{ or }41"), ("42", "\\{41,42\\}"), ("42", "[41,43]"),
        ("42", "42\\text{ or maybe 43}"), ("42", "42 (or 43)"), ("42", "41 \\quad 42"),
        ("42", "42 not 41"),
        ("42", "42\\text{ not}"), ("42", "42 \\pm 1"), ("42", "42 | 41"), ("42", "42 \\\\ 41"),
        ("42", "42/41"), ("42", "42:41"), ("42", "42; 41"), ("42", "42 \\lor 41"),
        ("42", "42\\approx 41"), ("A", "A.B"), ("A", "A...B"), ("A", "A\\text{B}"),
        ("A", "(A)!=(B)"), ("A", "B=A"), ("1", "1,0"), ("0", "0 because 5"), ("0", "5 0"),
        ("0", "0'1"),
        ("0", "(0)\\text{ maybe }(5)"), ("0", "0 not 5"), ("0", "0 % 5"), ("0", "0 is wrong"),
        ("0", "(0)\\lnot(5)"), ("42", "42_{5}"), ("42", "\\text{not }42"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("gold", "answer"), [pair for pairs in EQUAL.values() for pair in pairs], ids=repr
)
def test_equal(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"), [pair for pairs in DIFFERENT.values() for pair in pairs], ids=repr
)
def test_different(grader, gold, answer):
    assert grader.grade_sync(gold, answer).value == 0.0


@pytest.mark.parametrize("gold", sorted({gold for rows in EQUAL.values() for gold, _ in rows}))
def test_every_reference_of_the_tables_can_be_graded_against(grader, gold):
    grader.validate_gold(gold)
