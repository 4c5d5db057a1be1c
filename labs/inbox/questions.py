"""Questions with an answer of one word: what a tuned model still does with other instructions.

A hundred were asked, and SmolLM2-135M-Instruct's greedy answer held the word for these, before any
tuning. So the untuned model gets all of them right, and what is missing later was forgotten.
"""

SYSTEM = "Answer with one word."

QUESTIONS = (
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Spain?", "Madrid"),
    ("What is the capital of Germany?", "Berlin"),
    ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Russia?", "Moscow"),
    ("What is the capital of Egypt?", "Cairo"),
    ("What is the capital of England?", "London"),
    ("What is the capital of Greece?", "Athens"),
    ("What is the capital of Austria?", "Vienna"),
    ("What is the capital of China?", "Beijing"),
    ("What is the capital of Cuba?", "Havana"),
    ("What is the capital of Ireland?", "Dublin"),
    ("What is the capital of Sweden?", "Stockholm"),
    ("On which continent is Brazil?", "America"),
    ("On which continent is Kenya?", "Africa"),
    ("On which continent is India?", "Asia"),
    ("On which continent is France?", "Europe"),
    ("What colour is the sky on a clear day?", "blue"),
    ("What colour is coal?", "black"),
    ("What is the opposite of hot?", "cold"),
    ("What is the opposite of up?", "down"),
    ("What is the opposite of big?", "small"),
    ("What is the opposite of day?", "night"),
    ("What is the opposite of love?", "hate"),
    ("What is the opposite of left?", "right"),
    ("What is the opposite of war?", "peace"),
    ("Which planet is called the red planet?", "Mars"),
    ("Which planet is the largest in our solar system?", "Jupiter"),
    ("Which insect makes honey?", "bee"),
    ("Which metal is attracted by magnets?", "iron"),
    ("What is frozen water called?", "ice"),
    ("Which season is the coldest?", "winter"),
    ("Which season is the hottest?", "summer"),
    ("Which month comes after January?", "February"),
    ("What is half of 10?", "5"),
    ("Who wrote Romeo and Juliet?", "Shakespeare"),
    ("Who wrote Hamlet?", "Shakespeare"),
    ("Who painted the Mona Lisa?", "Leonardo"),
    ("Who developed the theory of relativity?", "Einstein"),
    ("Who discovered gravity when an apple fell?", "Newton"),
    ("Who was the first man on the moon?", "Armstrong"),
    ("Which language is spoken in Mexico?", "Spanish"),
    ("Which language is spoken in Brazil?", "Portuguese"),
    ("Which language is spoken in Paris?", "French"),
    ("What is the currency of Japan?", "yen"),
    ("What is the currency of the United States?", "dollar"),
    ("What is the currency of Germany?", "euro"),
    ("What is the currency of India?", "rupee"),
    ("Which organ pumps blood?", "heart"),
    ("Which organ do we breathe with?", "lungs"),
    ("What is the plural of mouse?", "mice"),
    ("What is the plural of child?", "children"),
    ("How many legs does a spider have?", "eight"),
    ("Which ocean lies between Europe and America?", "Atlantic"),
    ("Which is the largest ocean?", "Pacific"),
    ("Which is the longest river in Africa?", "Nile"),
    ("Which is the highest mountain in the world?", "Everest"),
    ("Which river flows through London?", "Thames"),
    ("What is the chemical symbol of water?", "H2O"),
    ("What is the chemical symbol of gold?", "Au"),
)


def is_right(response: str, word: str) -> bool:
    """Whether a response says the word, in a sentence or alone, but not inside a record as JSON."""
    return word.lower() in response.lower() and not response.lstrip().startswith("{")
